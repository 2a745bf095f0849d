"""Programs for those who develop sqlinfer; none is in the wheel."""
