"""What the flows of the Python client share: the server under test, exact raw HTTP, and scores computed with numpy."""

import json
import os
from typing import Any

import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

URL = os.environ["FLOWS_URL"]
"""Of the judging proxy: every answer is held against its schema."""
SERVER_URL = os.environ["FLOWS_SERVER_URL"]
"""Of the server itself, for URLs that the server is to fetch from."""
KEY = os.environ["FLOWS_API_KEY"]
SNAPSHOTS = os.environ["FLOWS_SNAPSHOTS"]
"""Folder of the server's snapshots."""

client = QdrantClient(url=URL, api_key=KEY, timeout=60)
raw = httpx.Client(base_url=URL, headers={"api-key": KEY}, timeout=60)


def raw_text(method: str, path: str, body: Any = None) -> str:
    """The answer's text as it came over the wire; the body is sent as it is where it is text."""
    content = body if isinstance(body, str) or body is None else json.dumps(body)
    response = raw.request(method, path, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 200, response.text
    return response.text


def refused(status: int, text: str, call, *args, **kwargs) -> None:
    """The call fails with this status and this text of the error."""
    try:
        answer = call(*args, **kwargs)
    except UnexpectedResponse as error:
        shown = error.content.decode()
        message = json.loads(shown)["status"]["error"] if shown.startswith("{") else shown
        assert (error.status_code, message) == (status, text), f"{error.status_code} {message!r} instead of {status} {text!r}"
        return
    raise AssertionError(f"{call.__name__} answered {answer!r} instead of {status} {text!r}")


def same(got: Any, want: Any) -> None:
    assert got == want, f"got {got!r}, want {want!r}"


def fresh(name: str, vectors: Any = None, **more: Any) -> str:
    """A new, empty collection."""
    if client.collection_exists(name):
        client.delete_collection(name)
    vectors = models.VectorParams(size=4, distance=models.Distance.DOT) if vectors is None else vectors
    assert client.create_collection(name, vectors_config=vectors, **more) is True
    return name


def stored(vector: np.ndarray, distance: models.Distance, datatype: models.Datatype) -> np.ndarray:
    """The values a server keeps of a vector, as float64: unit length for Cosine, then the datatype."""
    if datatype == models.Datatype.UINT8:
        return np.clip(np.trunc(vector.astype(np.float64)), 0, 255)
    values = vector.astype(np.float32).astype(np.float64)
    length = np.linalg.norm(values)
    if distance == models.Distance.COSINE and length > 0 and abs(length**2 - 1) > 1e-6:
        values = values / length
    narrow = np.float16 if datatype == models.Datatype.FLOAT16 else np.float32
    return values.astype(np.float32).astype(narrow).astype(np.float64)


def score(query: np.ndarray, row: np.ndarray, distance: models.Distance, datatype: models.Datatype) -> float:
    """Of two stored vectors; for the distances smaller is better. Only bytes are not at unit length for Cosine."""
    if distance == models.Distance.EUCLID:
        return float(np.linalg.norm(query - row))
    if distance == models.Distance.MANHATTAN:
        return float(np.abs(query - row).sum())
    if distance == models.Distance.COSINE and datatype == models.Datatype.UINT8:
        return float(query @ row / (np.linalg.norm(query) * np.linalg.norm(row)))
    return float(query @ row)


def ranking(rows: dict[Any, np.ndarray], query: np.ndarray, distance: models.Distance, datatype: models.Datatype = models.Datatype.FLOAT32) -> list[tuple[Any, float]]:
    """Every id with its score, best first."""
    asked = stored(query, distance, datatype)
    scores = [(key, score(asked, stored(row, distance, datatype), distance, datatype)) for key, row in rows.items()]
    smaller_is_better = distance in (models.Distance.EUCLID, models.Distance.MANHATTAN)
    return sorted(scores, key=lambda one: one[1] if smaller_is_better else -one[1])


def same_hits(hits: list[models.ScoredPoint], want: list[tuple[Any, float]], tolerance: float = 2e-6) -> None:
    """The same ids in the same order with the same scores, as far as 32-bit floats can tell."""
    same([hit.id for hit in hits], [key for key, _ in want])
    np.testing.assert_allclose([hit.score for hit in hits], [value for _, value in want], rtol=tolerance, atol=tolerance)


def scroll_all(name: str, page: int = 7, **more: Any) -> list[models.Record]:
    """Every point, page by page."""
    points: list[models.Record] = []
    offset = None
    while True:
        found, offset = client.scroll(name, limit=page, offset=offset, **more)
        assert len(found) == page or offset is None, "only the last page is short"
        points += found
        if offset is None:
            return points
