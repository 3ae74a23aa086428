"""Written by ``vsek.ari.generate``; not edited by hand."""
