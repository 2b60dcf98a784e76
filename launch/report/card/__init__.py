"""The model card of an exported run."""
