"""The official Python client against a server: one section per part of the API, each answering with values and not only with success.

Prints one JSON line per section: {"section": …, "error": … or null}. Environment: see flow_support.py. Arguments: sections to run.
"""

import json
import sys
import traceback
import warnings

warnings.simplefilter("error")  # a version that the client finds incompatible is a warning
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")

import flow_collections  # noqa: E402
import flow_filters  # noqa: E402
import flow_points  # noqa: E402
import flow_search  # noqa: E402
import flow_snapshots  # noqa: E402
from flow_support import client, raw  # noqa: E402

SECTIONS = {
    "service": flow_collections.service,
    "collections": flow_collections.life,
    "no-vectors": flow_collections.no_vectors,
    "configuration": flow_collections.configuration,
    "aliases": flow_collections.aliases,
    "indexes": flow_collections.indexes,
    "vector-names": flow_collections.vector_names,
    "upserts": flow_points.upserts,
    "uploads": flow_points.uploads,
    "conditional": flow_points.conditional,
    "pages": flow_points.pages,
    "order-by": flow_points.order_by,
    "deletes": flow_points.deletes,
    "payload-edits": flow_points.payload_edits,
    "vector-edits": flow_points.vector_edits,
    "batches": flow_points.batches,
    "exactness": flow_points.exactness,
    "too-large": flow_points.too_large,
    "filters": flow_filters.every_kind,
    "scores": flow_search.scores,
    "search-parameters": flow_search.parameters,
    "search-batches": flow_search.batches,
    "snapshots": flow_snapshots.make_and_list,
    "restores": flow_snapshots.restores,
}

for section in sys.argv[1:] or SECTIONS:
    error = None
    try:
        SECTIONS[section]()
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps({"section": section, "error": error}), flush=True)

client.close()
raw.close()
