"""The lean front: gRPC on libnghttp2, the HTTP/2 library behind curl and Apache httpd, driven through cffi.

    binding      the C library: its functions, its version, blocks of headers
    callbacks    functions of ours in the form that the library calls
    session      one HTTP/2 session: bytes in, bytes out, streams in between
    framing      gRPC messages out of bytes that are split anywhere, and gzip
    head         what the headers of a call ask for
    metadata     headers to what a `Call` knows, and an outcome to headers
    server_call  one gRPC call on one stream: its answers and its end
    single_call  with a single request
    stream_call  with a stream of requests
    arrivals     calls whose requests are there, begun together
    limits       what one peer may do to us
    connection   one session on a socket: flow control, floods, age
    front        the listening socket, the end

Importing any of them but framing and metadata needs the library; `binding` says why it cannot be used.
"""
