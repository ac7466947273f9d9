"""Metrics of the control plane; what Istio also measures has Istio's name and meaning."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ambimesh.ca.root import RootKeeper
from ambimesh.ca.service import CertificateService
from ambimesh.xds.service import DiscoveryService
from ambimesh.xds.store import TYPES

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_COMPILE_BUCKETS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class ControlPlaneMetrics:
    """Registers every metric of a control plane. Call once for each registry.

    Cardinality: a handful of series, labelled by resource type at most.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.compile_seconds = Histogram(
            "ambimesh_compile_seconds",
            "Time to compile what a batch of changes reaches.",
            buckets=_COMPILE_BUCKETS,
            registry=self._registry,
        )

    def observe(
        self,
        discovery: DiscoveryService,
        certificates: CertificateService,
        roots: RootKeeper,
    ) -> None:
        """Add what the services count for themselves."""
        self._registry.register(_Services(discovery, certificates, roots))

    def render(self) -> bytes:
        """Give every metric in the text format."""
        return generate_latest(self._registry)


class _Services(Collector):
    """Reads the services when somebody asks."""

    def __init__(
        self, discovery: DiscoveryService, certificates: CertificateService, roots: RootKeeper
    ) -> None:
        self._discovery = discovery
        self._certificates = certificates
        self._roots = roots

    def collect(self) -> Iterable[Metric]:
        """Give the samples of now."""
        discovery, certificates = self._discovery, self._certificates
        yield GaugeMetricFamily("pilot_xds", "Open streams.", value=len(discovery.streams))
        yield CounterMetricFamily("pilot_xds_pushes", "Responses sent.", value=discovery.push_count)
        yield CounterMetricFamily(
            "pilot_total_xds_rejects", "Responses rejected.", value=discovery.rejected_count
        )
        resources = GaugeMetricFamily(
            "ambimesh_resources", "Resources served, by type.", labels=["type"]
        )
        for type_url in TYPES:
            count = discovery.resource_count(type_url)
            resources.add_metric([type_url.rpartition(".")[2]], count)
        yield resources
        yield CounterMetricFamily(
            "citadel_server_success_cert_issuance_count",
            "Certificates made.",
            value=certificates.issued_count,
        )
        yield CounterMetricFamily(
            "ambimesh_certificates_refused",
            "Requests for certificates refused.",
            value=certificates.refused_count,
        )
        authority = self._roots.current()
        if authority is not None:
            yield GaugeMetricFamily(
                "citadel_server_root_cert_expiry_timestamp",
                "When the root expires, in seconds since the epoch.",
                value=authority.certificate.not_valid_after_utc.timestamp(),
            )
