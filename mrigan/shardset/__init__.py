"""The on-disk format of a shard set: names, tar, rows, codecs, plan, markers, manifest. Packing writes, data reads."""
