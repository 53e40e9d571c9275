"""`python -m iqpir` is the `iqpir` command; launchers need it: `accelerate launch -m iqpir train …`."""

from iqpir.cli import main

if __name__ == "__main__":
    main()
