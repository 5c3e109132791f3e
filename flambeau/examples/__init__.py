"""Programs written with the framework, as a user would write them.

They stand on the roof: they import `flambeau` itself, and nothing in the house imports them.
"""
