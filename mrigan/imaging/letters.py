"""Letters and digits as strokes: Hershey Simplex, the font of the paper's authors (OpenCV 4's HERSHEY_SIMPLEX).

OpenCV 5 draws a bold sans-serif under that name, which hides several times as much of a face.

The Hershey Fonts were originally created by Dr. A. V. Hershey while working at the U. S. National Bureau of Standards;
the format of the data was originally created by James Hurt, Cognition, Inc.
"""

from __future__ import annotations

from functools import cache

import numpy as np

ABOVE, BELOW = 22, 7  # units above and below the base line; a capital has 21
BASE = 9  # y of the base line; y counts downwards

# Pairs of characters, each a distance from R: left and right end of the letter, then the points; " R" lifts the pen
GLYPHS = {
    "A": 'I[RFJ[ RRFZ[ RMTWT',
    "B": 'G\\KFK[ RKFTFWGXHYJYLXNWOTP RKPTPWQXRYTYWXYWZT[K[',
    "C": 'H]ZKYIWGUFQFOGMILKKNKSLVMXOZQ[U[WZYXZV',
    "D": 'G\\KFK[ RKFRFUGWIXKYNYSXVWXUZR[K[',
    "E": 'H[LFL[ RLFYF RLPTP RL[Y[',
    "F": 'HZLFL[ RLFYF RLPTP',
    "G": 'H]ZKYIWGUFQFOGMILKKNKSLVMXOZQ[U[WZYXZVZS RUSZS',
    "H": 'G]KFK[ RYFY[ RKPYP',
    "I": 'NVRFR[',
    "J": 'JZVFVVUYTZR[P[NZMYLVLT',
    "K": 'G\\KFK[ RYFKT RPOY[',
    "L": 'HYLFL[ RL[X[',
    "M": 'F^JFJ[ RJFR[ RZFR[ RZFZ[',
    "N": 'G]KFK[ RKFY[ RYFY[',
    "O": 'G]PFNGLIKKJNJSKVLXNZP[T[VZXXYVZSZNYKXIVGTFPF',
    "P": 'G\\KFK[ RKFTFWGXHYJYMXOWPTQKQ',
    "Q": 'G]PFNGLIKKJNJSKVLXNZP[T[VZXXYVZSZNYKXIVGTFPF RSWY]',
    "R": 'G\\KFK[ RKFTFWGXHYJYLXNWOTPKP RRPY[',
    "S": 'H\\YIWGTFPFMGKIKKLMMNOOUQWRXSYUYXWZT[P[MZKX',
    "T": 'JZRFR[ RKFYF',
    "U": 'G]KFKULXNZQ[S[VZXXYUYF',
    "V": 'I[JFR[ RZFR[',
    "W": 'F^HFM[ RRFM[ RRFW[ R\\FW[',
    "X": 'H\\KFY[ RYFK[',
    "Y": 'I[JFRPR[ RZFRP',
    "Z": 'H\\YFK[ RKFYF RK[Y[',
    "a": 'I\\XMX[ RXPVNTMQMONMPLSLUMXOZQ[T[VZXX',
    "b": 'H[LFL[ RLPNNPMSMUNWPXSXUWXUZS[P[NZLX',
    "c": 'I[XPVNTMQMONMPLSLUMXOZQ[T[VZXX',
    "d": 'I\\XFX[ RXPVNTMQMONMPLSLUMXOZQ[T[VZXX',
    "e": 'I[LSXSXQWOVNTMQMONMPLSLUMXOZQ[T[VZXX',
    "f": 'MYWFUFSGRJR[ ROMVM',
    "g": 'I\\XMX]W`VaTbQbOa RXPVNTMQMONMPLSLUMXOZQ[T[VZXX',
    "h": 'I\\MFM[ RMQPNRMUMWNXQX[',
    "i": 'NVQFRGSFREQF RRMR[',
    "j": 'MWRFSGTFSERF RSMS^RaPbNb',
    "k": 'IZMFM[ RWMMW RQSX[',
    "l": 'NVRFR[',
    "m": 'CaGMG[ RGQJNLMOMQNRQR[ RRQUNWMZM\\N]Q][',
    "n": 'I\\MMM[ RMQPNRMUMWNXQX[',
    "o": 'I\\QMONMPLSLUMXOZQ[T[VZXXYUYSXPVNTMQM',
    "p": 'H[LMLb RLPNNPMSMUNWPXSXUWXUZS[P[NZLX',
    "q": 'I\\XMXb RXPVNTMQMONMPLSLUMXOZQ[T[VZXX',
    "r": 'KXOMO[ ROSPPRNTMWM',
    "s": 'J[XPWNTMQMNNMPNRPSUTWUXWXXWZT[Q[NZMX',
    "t": 'MYRFRWSZU[W[ ROMVM',
    "u": 'I\\MMMWNZP[S[UZXW RXMX[',
    "v": 'JZLMR[ RXMR[',
    "w": 'G]JMN[ RRMN[ RRMV[ RZMV[',
    "x": 'J[MMX[ RXMM[',
    "y": 'JZLMR[ RXMR[P_NaLbKb',
    "z": 'J[XMM[ RMMXM RM[X[',
    "0": 'H\\QFNGLJKOKRLWNZQ[S[VZXWYRYOXJVGSFQF',
    "1": 'H\\NJPISFS[',
    "2": 'H\\LKLJMHNGPFTFVGWHXJXLWNUQK[Y[',
    "3": 'H\\MFXFRNUNWOXPYSYUXXVZS[P[MZLYKW',
    "4": 'H\\UFKTZT RUFU[',
    "5": 'H\\WFMFLOMNPMSMVNXPYSYUXXVZS[P[MZLYKW',
    "6": 'H\\XIWGTFRFOGMJLOLTMXOZR[S[VZXXYUYTXQVOSNRNOOMQLT',
    "7": 'H\\YFO[ RKFYF',
    "8": 'H\\PFMGLILKMMONSOVPXRYTYWXYWZT[P[MZLYKWKTLRNPQOUNWMXKXIWGTFPF',
    "9": 'H\\XMWPURRSQSNRLPKMKLLINGQFRFUGWIXMXRWWUZR[P[MZLX',
}  # fmt: skip


@cache
def strokes(letter: str) -> tuple[int, tuple[np.ndarray, ...]]:
    """A letter's width, and its strokes: (n, 2) int points (x, y), from the left end and the base line, in units."""
    data = GLYPHS[letter]
    left, right = (ord(c) - ord("R") for c in data[:2])
    lines = [np.array([ord(c) - ord("R") for c in line]).reshape(-1, 2) for line in data[2:].split(" R")]
    return right - left, tuple(line - [left, BASE] for line in lines)
