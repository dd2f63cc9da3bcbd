"""The sources of the docs site: `python -m docs.generate build/pages`, then `zensical build --strict`."""
