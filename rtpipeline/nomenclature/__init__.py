"""Names of structures: the nomenclature of AAPM Task Group 263, and how a name in a file comes to one of them."""
