"""Read a file with libCacheSim's own reader, and print its accesses and the misses of a cache that never evicts."""

import json
import sys

import libcachesim as lcs

settings = lcs.ReaderInitParam(has_header=True, has_header_set=True, delimiter=",")
settings.time_field, settings.obj_id_field, settings.obj_size_field = 1, 2, 3
reader = lcs.TraceReader(sys.argv[1], lcs.TraceType.CSV_TRACE, settings)
accesses, objects = 0, set()
for request in reader:
    accesses += 1
    objects.add(request.obj_id)
print(json.dumps({"blocks": accesses, "distinct": len(objects)}))
