"""Says when a class of uvicorn changes that `farthing.server.http.connection` extends, though it is not public.

Then read what is different, see that the tests of connections still try what they say, and write the new digest here.
"""

from __future__ import annotations

import hashlib
import inspect

from uvicorn.protocols.http import flow_control, httptools_impl

DIGESTS = {
    "HttpToolsProtocol": "18fdf324b11bf160",
    "RequestResponseCycle": "e67d470d435dcc1c",
    "FlowControl": "126debcdaa894c83",
}


def test_the_classes_that_connections_extend_are_those_that_they_were_written_for() -> None:
    classes = (httptools_impl.HttpToolsProtocol, httptools_impl.RequestResponseCycle, flow_control.FlowControl)
    found = {kind.__name__: hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()[:16] for kind in classes}
    assert found == DIGESTS
