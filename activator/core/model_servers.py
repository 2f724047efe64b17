"""What model servers serve besides models: the paths by which they are operated.

A table to read. Clients of an endpoint that speaks OpenAI's dialect do not reach them unless its
`blockPaths` says otherwise. The names are those of the servers' own documentation; what is
inference under another name (`/generate`, `/invocations`, `/tokenize`) is not among them.
"""

from __future__ import annotations

from typing import Final

OPERATING_PATHS: Final = (
    # vLLM: operation, development, profiling, adapters
    "/pause", "/resume", "/is_paused", "/sleep", "/wake_up", "/is_sleeping",
    "/collective_rpc", "/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache",
    "/scale_elastic_ep", "/is_scaling_elastic_ep", "/init_weight_transfer_engine",
    "/update_weights", "/get_world_size", "/abort_requests", "/server_info",
    "/start_profile", "/stop_profile", "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
    # SGLang: memory, weights, caches, sessions, recording
    "/release_memory_occupation", "/resume_memory_occupation",
    "/pause_generation", "/continue_generation", "/abort_request", "/flush_cache",
    "/update_weights_from_disk", "/update_weights_from_tensor", "/update_weights_from_ipc",
    "/update_weights_from_distributed", "/update_weight_version", "/get_weights_by_name",
    "/init_weights_update_group", "/destroy_weights_update_group",
    "/init_weights_send_group_for_remote_instance", "/send_weights_to_remote_instance",
    "/load_lora_adapter", "/unload_lora_adapter", "/open_session", "/close_session",
    "/configure_logging", "/freeze_gc", "/slow_down", "/set_internal_state",
    "/clear_hicache_storage_backend", "/start_expert_distribution_record",
    "/stop_expert_distribution_record", "/dump_expert_distribution_record",
    # llama.cpp's server: slots are saved, restored and erased; adapters, models, properties
    "/slots", "/lora-adapters", "/props", "/models/load", "/models/unload",
    # Ollama: models are pulled, pushed, made and deleted
    "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs",
)  # fmt: skip
