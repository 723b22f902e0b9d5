"""68 points → head pose → feature → SVM: the head-pose detector of the second paper (Yang, Li and Lyu, ICASSP 2019).

A face that was swapped into a head is turned a little differently than the head around it. The pose of the inner face
and the pose of the whole face are estimated apart, and their difference is classified.
"""
