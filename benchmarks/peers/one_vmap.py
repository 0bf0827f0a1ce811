"""jaxfed with all hospitals in one vmap on one device."""

from peers.ours import OneVmap, main

if __name__ == "__main__":
    main(OneVmap)
