"""An SMS gateway on your own machine, with a JSON API and every fault on demand; see README.md."""
