"""A client of `nestling serve`: collections and encoders of a server, used like local ones.

Example:
    >>> client = nestling.Client("http://127.0.0.1:8080")
    >>> articles = client.collection("articles")
    >>> hits = articles.search("what makes bread?", k=3)  # doctest: +SKIP
"""

from nestling.client.client import Client
from nestling.client.collection import RemoteCollection

__all__ = ["Client", "RemoteCollection"]
