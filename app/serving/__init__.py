"""How the web process shares its threads: requests are read whole before one of them is given to them."""
