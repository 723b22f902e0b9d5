"""`python -m mrigan.cli`: the same as `mrigan`."""

from mrigan.cli import main

if __name__ == "__main__":
    main()
