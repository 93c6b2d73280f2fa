"""Training: one loop (``trainer``), and a task for each command: ``align``, ``pretrain``, ``finetune``, ``adapt``."""
