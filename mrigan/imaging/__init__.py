"""Pixel operations on CPU and GPU; nothing of files or clips. In the order of reading:

- `picture`: what a picture is, and the one place that chooses between `arrays` and `planes`.
- `arrays`, `planes`: the operations, twice with the same names: by OpenCV and NumPy, by torch on any device.
- `coordinates`: places in pictures, and how boxes and landmarks follow pixels that move.
- `treatment`, `recipe`: what a family of clips gets (MRI-GAN, section 3): `noise`, `augmentation`, `distraction`.
- `face_augmentation`: what a training face gets.
- `corruptions`: ten kinds in five severities, to measure robustness.
- `blending`, `degrading`: self-blended pairs, and what both pictures of a pair lose afterwards.
- `encoding`, `h264`: JPEG and PNG; the frames of a video encoder.
- `quality`: how sharp and how coloured a face is.
"""
