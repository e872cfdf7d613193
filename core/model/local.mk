core_libcore_la_SOURCES += \
	core/model/config.c core/model/config.h core/model/family.c \
	core/model/dtype.c core/model/dtype.h \
	core/model/json_read.c core/model/json_read.h \
	core/model/safetensors.c core/model/safetensors.h \
	core/model/tensor_table.c core/model/tensor_table.h \
	core/model/tensors.c core/model/tensors.h \
	core/model/model.c core/model/model.h core/model/model_save.c \
	core/model/trunk.h \
	core/model/weights.c core/model/weights.h \
	core/model/transformer.c core/model/transformer.h core/model/backward.c \
	core/model/pass.c core/model/pass.h \
	core/model/generate.c core/model/generate.h
