"""The DICOM network protocol in both roles: association, PDUs and DIMSE messages (PS3.7, PS3.8).

Blocking sockets and one thread for each association. Who reads what, from the wire upwards:

================  ====================================================================================
``transport``     bytes: one socket, one receive buffer, time limits
``pdu``           the association PDUs: bytes to the statements in ``terms`` and back
``inbound``       P-DATA to command sets and dataset fragments, as they arrive
``outbound``      a command set and a dataset to P-DATA, in as few writes as possible
``command``       command sets; ``status`` names the status codes
``conversation``  messages in and out, release and abort; ``message`` is what ``receive`` returns
``association``   the services of both roles on an established association
``acceptor``      waits for associations; ``slots`` counts them; ``negotiation`` answers proposals
``requestor``     asks for an association
``tls``           contexts for both sides
``failures``      how an association can end, in words
================  ====================================================================================

Nothing here knows a device, a patient or a file: the callers bring a decision and a function that serves.
"""
