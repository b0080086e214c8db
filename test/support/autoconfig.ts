import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const grammar = fileURLToPath(new URL('autoconfig.rng', import.meta.url))
const installed = spawnSync('xmllint', ['--version']).status === 0

/** Why no file can be validated here; false where it can, and where a continuous integration has to. */
export const cannotValidate: string | false =
  process.env.CI !== 'true' && !installed && 'xmllint is not installed: apt-get install libxml2-utils'

/** What xmllint says against the file; empty where it is valid. */
export function faultsOf(xml: string): string {
  const { status, stderr, error } = spawnSync('xmllint', ['--nonet', '--noout', '--relaxng', grammar, '-'], {
    input: xml,
    encoding: 'utf8',
  })
  if (error) throw error
  return status === 0 ? '' : stderr
}

export interface ServerSection {
  type: string
  hostname: string
  port: number
  socketType: string
  authentication: string[]
  username: string
}

export interface ReadAutoconfig {
  version: string
  id: string
  domains: string[]
  displayName: string | undefined
  displayShortName: string | undefined
  servers: ServerSection[]
}

/** As a mail program would read it. */
export function readAutoconfig(xml: string): ReadAutoconfig {
  return {
    version: match(xml, /<clientConfig version="(.*?)">/g)[0]!,
    id: match(xml, /<emailProvider id="(.*?)">/g)[0]!,
    domains: texts(xml, 'domain'),
    displayName: texts(xml, 'displayName')[0],
    displayShortName: texts(xml, 'displayShortName')[0],
    servers: [...xml.matchAll(/<(?:incoming|outgoing)Server type="(.*?)">(.*?)<\/\w+Server>/gs)].map(
      ([, type = '', section = '']) => ({
        type,
        hostname: texts(section, 'hostname')[0]!,
        port: Number(texts(section, 'port')[0]),
        socketType: texts(section, 'socketType')[0]!,
        authentication: texts(section, 'authentication'),
        username: texts(section, 'username')[0]!,
      }),
    ),
  }
}

/** Valid, and what it says. */
export function assertAutoconfig(xml: string): ReadAutoconfig {
  if (!cannotValidate) assert.equal(faultsOf(xml), '', xml)
  return readAutoconfig(xml)
}

function texts(xml: string, name: string): string[] {
  return match(xml, new RegExp(`<${name}(?: [^>]*)?>(.*?)</${name}>`, 'gs')).map(fromEntities)
}

function match(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, found = '']) => found)
}

const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }

function fromEntities(text: string): string {
  return text.replace(/&(\w+);/g, (_, name: string) => entities[name]!)
}
