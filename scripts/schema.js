/** Writes docs/pinhole.schema.json out of the compiled sources. Run after a build: node scripts/schema.js */
import { writeFileSync } from 'node:fs'
import { schemaText } from '../build/src/app/cli/check.js'

writeFileSync('docs/pinhole.schema.json', schemaText())
