"""Where conversations are kept. `base` is the contract; `sql` keeps it; `sqlite` connects."""
