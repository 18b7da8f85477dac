"""The cases of a quick test that are left to `make test-slow`, by the end of their test id.

Each has a quick sibling among the same parameters: what is left out is a second size, a second
level, or a costly solver. A test that is slow as a whole carries the mark `slow` itself.
"""

from __future__ import annotations

import re
from fnmatch import translate

SOLVERS = ("daps-paper", "pnpdm-annealed", "pnpdm-hmc", "mmps-paper", "tmpd-paper")

LONG = (
    *(f"laws/*[[]*-{name}[]-]*" for name in SOLVERS),
    "test_operators.py::test_pinv[[]*blur-varying*",
    "test_operators.py::test_pinv[[]*blur-replicate-per-lane*",
    "test_operators.py::test_*[[]*blur-varying-per-lane]",
    "test_operators.py::test_*[[]*blur-replicate-per-lane]",
    "test_operators.py::test_pinv[[]*side-by-side]",
    "test_coordinates.py::test_every_solver[[]*-sitcom]",
    "test_coordinates.py::test_solver[[]*-cosine]",
    "test_coordinates.py::test_solver[[]*-karras]",
    "test_ddnm.py::test_a_walk_resumes_anywhere[[]DDNM]",
    "test_early_stop.py::test_solver[[]*-sitcom]",
    "test_early_stop.py::test_solver[[]*-daps-exact]",
    "test_exact.py::test_paper[[]*-means]",
    "test_exact.py::test_paper[[]*-matrix-sums]",
    "test_exact.py::test_rest_variants[[]*-nats]",
    "test_exact.py::test_rest_optimizer[[]*-adamw]",
    "test_exact.py::test_rest_variants[[]*-random]",
    "test_exact.py::test_rest_variants[[]*-means]",
    "test_exact.py::test_rest_variants[[]*-sigma-q]",
    "test_exact.py::test_rest_weighting[[]*-sqrt]",
    "test_exact.py::test_posterior_samples[[]*field-even-blur]",
    "test_forms.py::test_every_form*[[]function-b*",
    "test_forms.py::test_every_form*[[]composition-mild*",
    "test_forms.py::test_every_form*[[]function-m*",
    "test_forms.py::test_every_form*[[]own*",
    "test_forms.py::test_every_form*[[]SciPy*",
    "test_forms.py::test_every_form*[[]composition-[bciv]*",
    "test_forms.py::test_every_form*[[]function-[ci]*",
    "test_noise_aware.py::test_a_level_of_noise_per_lane[[]operator4]",
    "test_noise_aware.py::test_noise_of_unknown_level_is_found[[]masked blur]",
    "test_noise_aware.py::test_realism_1*-0.1]",
    "test_noise_aware.py::test_realism_1*-0.4]",
    "test_noise_aware.py::test_without_noise_it_reproduces_y[[]*-0.6]",
    "test_noise_aware.py::test_units_of_y_do_not_matter[[]composed-0.6]",
    "test_noise_aware.py::test_without_a_spectral_form*-[02]]",
    "test_noise_aware.py::test_a_prior_that_is_not_gaussian*[[]operator[1234]-0.[36]*",
    "test_noise_aware.py::test_a_mask_without_noise_gains*[[]False]",
    "test_noise_aware.py::test_the_weight_of_the_prior_without*[[]0.2]",
    "test_divergence.py::test_every_noise[[]*-pnpdm-stacked]",
    "test_steps.py::test_many[[]*-1000]",
    "test_steps.py::test_many[[]*-draws-300]",
    "test_pnp.py::test_admm_converges_to_the_posterior_mean[[]1.0]",
    "test_red.py::test_converges_to_the_fixed_point[[]*-False]",
    "test_sitcom.py::test_transcription[[]0.0]",
    "test_diagnostics.py::test_the_default_solver_at_the_right_level*[[]0.01-*",
    "test_diagnostics.py::test_the_default_solver_at_the_right_level*[[]0.1-[sd]*",
    "test_gray.py::test_gray_arrays_images_and_tensors_alike[[]jpeg:60]",
    "test_modes.py::test_every_solver_under_inference_mode[[]sitcom]",
    "test_gray.py::test_three_equal_channels_are_one[[]sr*",
    "test_gray.py::test_three_equal_channels_are_one[[]deblur*",
    "test_gray.py::test_three_equal_channels_are_one[[]quantize*",
    "test_gray.py::test_own_tasks_on_gray_files",
    "test_gray.py::test_denoise_is_as_good_as_one_measurement[[]0.05-*",
    "test_restore.py::test_every_solver_of_the_catalogue_runs[[]sitcom]",
    "test_reddiff.py::test_score_distillation_with_data*[[]0.6]",
    "test_pigdm.py::test_any_problem[[]operator1-noise1]",
    "test_particles.py::test_particles_cover_both_modes[[]4]",
    "test_sampling.py::test_other_solvers_see_a_y_without_entries",
    "test_restore.py::test_every_task_improves_a_photo[[]deblur*",
    "test_restore.py::test_every_task_improves_a_photo[[]denoise*",
    "test_restore.py::test_every_task_improves_a_photo[[]sr*",
    "test_restore.py::test_what_sensors_and_coders_did*jpeg*",
    "test_restore.py::test_what_sensors_and_coders_did*hdr*",
    "test_restore.py::test_no_noise_at_all[[]deblur*",
    "test_restore.py::test_what_sensors_and_coders_did*quantize:4*",
    "test_restore.py::test_tiles_leave_no_seam",
    "test_pnpdm.py::test_stationary*",
    "test_pnpdm.py::test_posterior",
    "test_benchmark_posterior.py::test_calibration",
    "test_sampling.py::test_draws_have_the_mean*[[]ddpm-100]",
    "test_cli.py::test_peers_fill_holes[[]ddnm-plus]",
    "test_cli.py::test_peers_fill_holes[[]ddrm]",
    "test_cli.py::test_peers_fill_holes[[]diffpir]",
    "test_cli.py::test_peers_fill_holes[[]mmps]",
    "test_cli.py::test_peers_fill_holes[[]pigdm]",
    "test_operators.py::test_every_task_degrades_and_restores[[]brush]",
    "test_operators.py::test_every_task_degrades_and_restores[[]defocus]",
    "test_operators.py::test_every_task_degrades_and_restores[[]levin]",
    "test_operators.py::test_every_task_degrades_and_restores[[]shake]",
    "test_operators.py::test_every_task_degrades_and_restores[[]demosaic]",
    "test_operators.py::test_every_task_degrades_and_restores[[]quantize]",
)


_LONG = re.compile("|".join(translate(f"*{pattern}") for pattern in LONG))


def is_long(test: str) -> bool:
    """Whether the test of this id is left to the slow ones."""
    return _LONG.match(test) is not None
