"""Who may have a certificate for whom: pure. Source: spec/control-plane.md §6.2, design D9."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ambimesh.kube.core import Pod
from ambimesh.kube.tokens import TokenIdentity
from ambimesh.model.identity import Identity, TrustDomain


class NotPermittedError(Exception):
    """The caller may not have this certificate; the text says why, for our own log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAuthorizer:
    """Lets node proxies ask for the identities of pods on their own node, and nothing else.

    Args:
        trust_domain: The only one that certificates are made for.
        trusted_accounts: Service accounts of node proxies, as ``(namespace, name)``.
        pod: Finds a pod by namespace and name.
        pods_on: Gives the pods of a node that run as a service account.
    """

    trust_domain: TrustDomain
    trusted_accounts: frozenset[tuple[str, str]]
    pod: Callable[[str, str], Pod | None]
    pods_on: Callable[[str, str, str], Iterable[Pod]]

    def permitted(self, caller: TokenIdentity, impersonated: str) -> Identity:
        """Decide whose certificate the caller gets.

        Args:
            caller: Whom the token of the call speaks for.
            impersonated: The SPIFFE ID asked for; empty: the caller's own.

        Errors: ``NotPermittedError``.
        """
        if not impersonated:
            return Identity(
                trust_domain=self.trust_domain,
                namespace=caller.namespace,
                service_account=caller.service_account,
            )
        try:
            wanted = Identity.parse(impersonated)
        except ValueError as error:
            raise NotPermittedError(str(error)) from error
        if wanted.trust_domain != self.trust_domain:
            raise NotPermittedError(f"{wanted} is of another trust domain")
        node = self._node_of(caller)
        found = self.pods_on(node, wanted.namespace, wanted.service_account)
        if not any(pod.status.phase not in {"Failed", "Succeeded"} for pod in found):
            raise NotPermittedError(f"no pod on {node} runs as {wanted}")
        return wanted

    def _node_of(self, caller: TokenIdentity) -> str:
        """Find the node of a trusted caller, from the pod its token is bound to."""
        account = (caller.namespace, caller.service_account)
        if account not in self.trusted_accounts:
            raise NotPermittedError(f"{'/'.join(account)} is no trusted node account")
        if not caller.pod_name or not caller.pod_uid:
            raise NotPermittedError("the token is not bound to a pod")
        pod = self.pod(caller.namespace, caller.pod_name)
        if pod is None or pod.metadata.uid != caller.pod_uid:
            raise NotPermittedError(f"pod {caller.namespace}/{caller.pod_name} is not there")
        if pod.spec.service_account_name != caller.service_account or not pod.spec.node_name:
            raise NotPermittedError(f"{pod.label} does not run as the caller, or on no node")
        return pod.spec.node_name
