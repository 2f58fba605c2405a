"""The types of a queue's payloads, for those who write receivers: TypeScript, zod, JSON Schema, AsyncAPI, a sample."""
