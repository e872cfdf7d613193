core_libcore_la_SOURCES += \
	core/model/config.c core/model/config.h core/model/config_head.c core/model/config_head.h core/model/family.c \
	core/model/config_rope.c core/model/config_rope.h \
	core/model/dtype.c core/model/dtype.h \
	core/model/json_read.c core/model/json_read.h \
	core/model/gguf.c core/model/gguf.h \
	core/model/gguf_model.c core/model/gguf_model.h \
	core/model/gguf_quant.c core/model/gguf_quant.h \
	core/model/gguf_tokenizer.c core/model/gguf_tokenizer.h \
	core/model/safetensors.c core/model/safetensors.h \
	core/model/spm_merges.c core/model/spm_merges.h \
	core/model/tensor_table.c core/model/tensor_table.h \
	core/model/tensors.c core/model/tensors.h \
	core/model/model.c core/model/model.h core/model/model_save.c core/model/same.c core/model/estimate.c \
	core/model/trunk.h core/model/adapted.c core/model/adapted.h \
	core/model/lora.c core/model/lora.h core/model/lora_run.c core/model/peft.c core/model/peft.h \
	core/model/param.c core/model/param.h core/model/weights.c core/model/weights.h core/model/freeze.c \
	core/model/transformer.c core/model/transformer.h core/model/backward.c core/model/workspace.c \
	core/model/packing.c core/model/packing.h \
	core/model/gradients.c core/model/gradients.h \
	core/model/pass.c core/model/pass_room.c core/model/pass.h core/model/pass_state.h core/model/trace.c core/model/trace.h \
	core/model/sampler.c core/model/sampler.h \
	core/model/generate.c core/model/generate.h
