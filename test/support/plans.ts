import type { Client, Pool } from 'pg'

/** One statement as Postgres ran it, those within functions and those of foreign keys included. */
export interface RunPlan {
  text: string
  /** Pages of tables and indexes that were looked at, however often. */
  buffers: number
  /** What the busiest part of the plan gave, over all its loops. */
  rows: number
  /** Tables that were read from end to end. */
  scanned: string[]
  /** As in EXPLAIN, short. */
  outline: string
}

interface Node {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  Filter?: string
  'Actual Rows'?: number
  'Actual Loops'?: number
  'Shared Hit Blocks'?: number
  'Shared Read Blocks'?: number
  Plans?: Node[]
}

/** What a connection of this database tells from now on: auto_explain's plans, as notices to the client itself. */
export async function explainAll(admin: Pool): Promise<void> {
  const { rows } = await admin.query('select current_database() as name')
  const settings = {
    session_preload_libraries: 'auto_explain',
    'auto_explain.log_min_duration': '0',
    'auto_explain.log_analyze': 'on',
    'auto_explain.log_buffers': 'on',
    'auto_explain.log_timing': 'off',
    'auto_explain.log_nested_statements': 'on',
    'auto_explain.log_format': 'json',
    'auto_explain.log_level': 'notice',
  }
  for (const [name, value] of Object.entries(settings)) {
    await admin.query(`alter database ${rows[0].name} set ${name} = '${value}'`)
  }
}

export function collectPlans(client: Pick<Client, 'on'>, into: RunPlan[]): void {
  client.on('notice', ({ message = '' }) => {
    const json = /^duration: .* plan:\n([\s\S]*)$/.exec(message)?.[1]
    if (json) into.push(toRun(JSON.parse(json)))
  })
}

function toRun({ 'Query Text': text, Plan: plan }: { 'Query Text': string; Plan: Node }): RunPlan {
  const scans = nodesOf(plan).filter(
    (node) => node['Node Type'] === 'Seq Scan' && (node['Actual Loops'] ?? 0) > 0,
  )
  return {
    text: text.replaceAll(/\s+/g, ' ').trim(),
    buffers: (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0),
    rows: Math.max(...nodesOf(plan).map((node) => (node['Actual Rows'] ?? 0) * (node['Actual Loops'] ?? 0))),
    scanned: scans.map((node) => node['Relation Name'] ?? ''),
    outline: outline(plan),
  }
}

function outline(node: Node, indent = ''): string {
  const buffers = (node['Shared Hit Blocks'] ?? 0) + (node['Shared Read Blocks'] ?? 0)
  const what = [
    node['Node Type'],
    node['Relation Name'],
    node['Index Name'],
    node.Filter && `filter ${node.Filter}`,
  ]
  const line = `${indent}${what.filter(Boolean).join(' ')}: ${buffers} pages, ${node['Actual Rows']} rows x ${node['Actual Loops']}`
  return [line, ...(node.Plans ?? []).map((child) => outline(child, `${indent}  `))].join('\n')
}

function nodesOf(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)]
}
