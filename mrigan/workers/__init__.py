"""Work in other processes: a pool on this machine, or a Ray cluster; what they do is up to the caller."""
