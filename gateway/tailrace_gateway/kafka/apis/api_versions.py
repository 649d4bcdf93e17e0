"""ApiVersions (key 18), versions 0-4.

v3 client software name and version (KIP-511), features (KIP-584) · v4 features whose minimum is 0
A version that we do not know is answered in version 0 with UNSUPPORTED_VERSION and the versions of this API alone.
The list is derived from the table of what is served.
"""

import re
from typing import Final

from tailrace_gateway.errors import ErrorCode, answering
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
)

_SOFTWARE: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def handle(call: Call, request: ApiVersionsRequest | None) -> ApiVersionsResponse:
    if request is None:
        return ApiVersionsResponse(error_code=answering(ErrorCode.UNSUPPORTED_VERSION), api_keys=[_row(API)])
    if call.version >= 3:
        name, version = request.client_software_name, request.client_software_version
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            return ApiVersionsResponse(error_code=answering(ErrorCode.INVALID_REQUEST))
    return ApiVersionsResponse(api_keys=[_row(api) for api in call.services.routes.apis.values()])


def _row(api: Api) -> ApiVersion:
    first = api.versions[0] if api.advertised_from is None else api.advertised_from
    return ApiVersion(api_key=api.key, min_version=first, max_version=api.versions[-1])


API = Api(key=18, name="ApiVersions", versions=range(5), handle=handle)
