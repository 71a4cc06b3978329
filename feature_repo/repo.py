"""What `feast apply` registers, for those who use Feast's own command line."""

from feature_repo.store import history_folder
from feature_repo.views import feature_objects
from forewarn.config.settings import Settings

_settings = Settings()
_objects = feature_objects(history_folder(_settings.home), _settings.offline_store)
series = _objects.series
signal_features_push = _objects.push
signal_features = _objects.view
failure_v1 = _objects.service
