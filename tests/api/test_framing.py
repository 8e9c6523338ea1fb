# SPDX-License-Identifier: Apache-2.0
"""Where a request ends: bytes that a proxy and this server could understand differently are refused, and the connection with them."""
import re

import pytest

SMUGGLED = b"DELETE /v2/cache/image HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HEAD = b" /healthcheck HTTP/1.1\r\nHost: 127.0.0.1\r\n"
N = str(len(SMUGGLED)).encode()
WRONG = {
    "two lengths": b"POST" + HEAD + b"Content-Length: 0\r\nContent-Length: " + N + b"\r\n\r\n",
    "two lengths, large first": b"POST" + HEAD + b"Content-Length: " + N + b"\r\nContent-Length: 0\r\n\r\n",
    "the same length twice": b"POST" + HEAD + b"Content-Length: 0\r\ncontent-length: 0\r\n\r\n",
    "length and chunks": b"POST" + HEAD + b"Content-Length: " + N + b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"GET" + HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: " + N + b"\r\n\r\n0\r\n\r\n",
    "a blank before the colon": b"POST" + HEAD + b"Content-Length : " + N + b"\r\n\r\n",
    "a tab before the colon": b"GET" + HEAD + b"Content-Length\t: " + N + b"\r\n\r\n",
    "a blank in a name": b"GET" + HEAD + b"Content Length: " + N + b"\r\n\r\n",
    "an encoding of encodings": b"POST" + HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "identity": b"POST" + HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "chunks twice": b"POST" + HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a disguised encoding": b"POST" + HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a length with a sign": b"POST" + HEAD + b"Content-Length: +0\r\n\r\n",
    "a list of lengths": b"POST" + HEAD + b"Content-Length: 0, 0\r\n\r\n",
    "two hosts": b"GET" + HEAD + b"Host: images.example.org\r\n\r\n",
    "a bare carriage return": b"GET" + HEAD + b"X-One: a\rContent-Length: " + N + b"\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /healthcheck HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


def answers(data):
    """The statuses in all that came back."""
    return re.findall(rb"HTTP/1\.[01] (\d\d\d) ", data)


@pytest.mark.parametrize("how", WRONG)
def test_two_ends(folder, api, how):
    """The answer is a no, and the connection is closed: nothing behind it is heard."""
    folder.put("image", b"to be kept")
    api.get("/images/image")
    folder.wait_cached("image")
    with api.socket() as s:
        s.sendall(WRONG[how] + SMUGGLED)
        data = b""
        try:
            while part := s.recv(65536):  # to the end: the server closes, not the client
                data += part
        except ConnectionResetError:
            pass
    assert answers(data) and set(answers(data)) == {b"400"}, data
    assert folder.ls("cached") == ["image"]
    assert api.get("/healthcheck").status == 200


def test_what_is_right(folder, api):
    """Bodies that say once how long they are; names and values that are merely unusual."""
    for head in (b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
                 b"X!#$%&'*+-.^_`|~1: a\tb \xe9\r\nContent-Length: 0\r\n\r\n"):
        data = api.raw(b"POST /v2/cache/clean HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + head)
        assert answers(data) == [b"200"], (head, data)
