"""The certificate authority: certificates, trust bundles, who may ask for what."""
