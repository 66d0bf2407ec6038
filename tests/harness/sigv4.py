"""The least of Signature Version 4: a header-signed request without a query. Written from the published description of the algorithm."""

import datetime
import hashlib
import hmac


def _mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(key_id, secret, region, service, host, payload, headers, method="POST", path="/", now=None):
    """Returns `headers` with host, date and authorization added. `now` is an aware datetime, by default the clock's."""
    moment = (now or datetime.datetime.now(datetime.timezone.utc)).strftime("%Y%m%dT%H%M%SZ")
    day = moment[:8]
    signed = {name.lower(): value for name, value in headers.items()}
    signed.update({"host": host, "x-amz-date": moment})
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    request = "\n".join([method, path, "", lines, names, hashlib.sha256(payload).hexdigest()])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _mac(key, part)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return {
        **signed,
        "authorization": f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}",
    }
