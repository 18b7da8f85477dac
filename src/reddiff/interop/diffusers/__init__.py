"""Priors from diffusers: networks, pipelines and the folders in which they are saved."""

from reddiff.interop.diffusers.folders import Pipeline, folder_prior, is_folder, pipeline_prior
from reddiff.interop.diffusers.models import is_network, network_prior

__all__ = ["Pipeline", "folder_prior", "is_folder", "is_network", "network_prior", "pipeline_prior"]
