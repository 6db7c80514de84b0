"""The newsletter: one issue in, one mail out. No clock, no store, no network; equal issues give equal mails."""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from mjml import mjml2html

from closebell.model.operations import InlineImage, Mail
from closebell.reports import charts
from closebell.reports.account_lines import equity_usd, exposures_usd
from closebell.reports.issue import NewsletterIssue
from closebell.reports.newsletter_view import NewsletterView, view_of
from closebell.reports.text_part import text_of

EQUITY_IMAGE_ID = "equity@closebell"
EXPOSURE_IMAGE_ID = "exposure@closebell"


def render_newsletter(issue: NewsletterIssue) -> Mail:
    """Write, draw and set one issue.

    Returns
    -------
    Mail
        A subject of one line (at most 120 characters), HTML and text that say the same, and the pictures the HTML shows.
    """
    view = view_of(issue)
    return Mail(subject=view.subject, html=_html(view), text=text_of(view), images=_images(view, issue))


def _images(view: NewsletterView, issue: NewsletterIssue) -> tuple[InlineImage, ...]:
    images = []
    if view.equity_caption:
        images.append(InlineImage(content_id=EQUITY_IMAGE_ID, png=charts.equity_chart(issue.equity)))
    equity = equity_usd(issue)
    if view.exposure_caption and equity is not None:
        images.append(InlineImage(content_id=EXPOSURE_IMAGE_ID, png=charts.exposure_chart(exposures_usd(issue), equity)))
    return tuple(images)


def _html(view: NewsletterView) -> str:
    markup = _template().render(view=view, equity_image_id=EQUITY_IMAGE_ID, exposure_image_id=EXPOSURE_IMAGE_ID)
    return str(mjml2html(markup, fonts={}))  # MJML would otherwise fetch a web font it recognises in the font stack


@cache
def _template() -> Template:
    source = files("closebell.reports").joinpath("templates/newsletter.mjml").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)
