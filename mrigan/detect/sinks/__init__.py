"""Where the verdicts of a run go: a class per kind of output, one file each; `mrigan.detect.options` lists them."""
