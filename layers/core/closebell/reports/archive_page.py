"""A mail as one file for the archive and for viewing on disk."""

import base64
import re

from closebell.model.operations import Mail

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_IMAGE = re.compile(r'\bsrc="cid:([^"]+)"')


def standalone_html(mail: Mail) -> str:
    """The mail's HTML with its pictures inside and a policy that lets nothing else load or run.

    Raises
    ------
    ValueError
        The HTML shows a picture that the mail does not carry.
    """
    images = {image.content_id: image.png for image in mail.images}

    def inlined(match: re.Match[str]) -> str:
        if match[1] not in images:
            raise ValueError(f"the mail shows picture {match[1]!r} but carries only {sorted(images)}")
        return f'src="data:image/png;base64,{base64.b64encode(images[match[1]]).decode()}"'

    policy = f'<head><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    return _IMAGE.sub(inlined, mail.html).replace("<head>", policy, 1)
