"""What the dashboard asks of PostgreSQL: read-only questions with typed answers, one module a page."""

from forewarn.stores.views.capacity import Capacity, capacity_view
from forewarn.stores.views.data import DataView, data_view
from forewarn.stores.views.ledger import LedgerView, ledger_view
from forewarn.stores.views.model_life import ModelLife, model_life
from forewarn.stores.views.models import ModelsView, models_view, report_path
from forewarn.stores.views.now import NowView, now_view
from forewarn.stores.views.risk import RiskView, incident_about, risk_view
from forewarn.stores.views.timeline import TimelineView, timeline_view

__all__ = [
    "Capacity",
    "DataView",
    "LedgerView",
    "ModelLife",
    "ModelsView",
    "NowView",
    "RiskView",
    "TimelineView",
    "capacity_view",
    "data_view",
    "incident_about",
    "ledger_view",
    "model_life",
    "models_view",
    "now_view",
    "report_path",
    "risk_view",
    "timeline_view",
]
