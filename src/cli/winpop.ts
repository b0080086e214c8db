#!/usr/bin/env node
import { winpop } from './winpop/program.ts'

process.exitCode = await winpop(process.argv.slice(2), process)
