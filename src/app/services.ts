import { createFunctionRecords } from '../adapters/function-records.ts';
import { guardSource } from '../adapters/guarded-source.ts';
import { createHttpRecords } from '../adapters/http-records.ts';
import { compileJsonSchema } from '../adapters/json-schema-check.ts';
import { createPostgresRecords } from '../adapters/postgres-records.ts';
