"""What reads and decodes batches: threads, processes, or a decoder that takes a batch at a time (DALI, nvJPEG)."""
