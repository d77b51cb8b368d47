//! Dictionaries of structured fields (RFC 9651), as far as targeted fields need them.
