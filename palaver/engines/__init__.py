"""Who answers. Each engine keeps the contract in `base`."""
