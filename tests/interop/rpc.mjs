// npm's kubo-rpc-client against a running node: what a program written for Kubo does first.
// usage: node rpc.mjs http://127.0.0.1:PORT
import assert from 'node:assert/strict'
import { create } from 'kubo-rpc-client'

const ipfs = create({ url: process.argv[2] })
const text = new TextEncoder()
const collect = async (source) => {
  const parts = []
  for await (const part of source) parts.push(part)
  return parts
}
const bytes = async (source) => Buffer.concat(await collect(source))

const version = await ipfs.version()
assert.ok(version.version.length > 0)
assert.ok((await ipfs.id()).id.toString().startsWith('12D3'))

// add and cat, one file and a folder
const hello = await ipfs.add('hello world', { cidVersion: 1, rawLeaves: true })
assert.equal(hello.cid.toString(), 'bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e')
assert.equal((await bytes(ipfs.cat(hello.cid))).toString(), 'hello world')
assert.equal((await bytes(ipfs.cat(hello.cid, { offset: 6, length: 3 }))).toString(), 'wor')
const files = [
  { path: 'planets/mars.txt', content: text.encode('Hello Mars!\n') },
  { path: 'planets/venus.txt', content: text.encode('Hello Venus!\n') }
]
const added = await collect(ipfs.addAll(files, { cidVersion: 1, rawLeaves: true }))
const planets = added.find((entry) => entry.path === 'planets')
assert.equal(planets.cid.toString(), 'bafybeih7e5dmkyk25up5vxug4q3hrg2fxbzf23dfrac2fns5h7z4aa7ioi')
const listed = await collect(ipfs.ls(planets.cid))
assert.deepEqual(listed.map((entry) => entry.name), ['mars.txt', 'venus.txt'])
assert.equal((await bytes(ipfs.cat(`${planets.cid}/mars.txt`))).toString(), 'Hello Mars!\n')
assert.ok((await bytes(ipfs.get(planets.cid))).length > 1024)

// blocks and the data model
const block = await ipfs.block.put(text.encode('a block'), { format: 'raw' })
assert.equal(Buffer.from(await ipfs.block.get(block)).toString(), 'a block')
assert.equal((await ipfs.block.stat(block)).size, 7)
const node = await ipfs.dag.put({ a: [1, 'x', null], l: planets.cid }, { storeCodec: 'dag-cbor' })
assert.deepEqual((await ipfs.dag.get(node, { path: '/a/1' })).value, 'x')
assert.equal(await ipfs.resolve(`/ipfs/${node}/l/mars.txt`), '/ipfs/bafkreibmlvvgdyihetgocpof6xk64kjjzdeq2e4c7hqs3krdheosk4tgj4')
await collect(ipfs.dag.import([await bytes(ipfs.dag.export(planets.cid))]))

// pins
const pins = (await collect(ipfs.pin.ls({ type: 'recursive' }))).map((pin) => pin.cid.toString())
assert.ok(pins.includes(planets.cid.toString()))
await ipfs.pin.rm(planets.cid)
await assert.rejects(ipfs.pin.rm(planets.cid), /not pinned/)
await ipfs.pin.add(planets.cid)

// mutable files
await ipfs.files.mkdir('/a/b', { parents: true })
await ipfs.files.write('/a/b/hello.txt', 'hello mfs', { create: true })
assert.equal((await bytes(ipfs.files.read('/a/b/hello.txt'))).toString(), 'hello mfs')
assert.equal((await ipfs.files.stat('/a/b/hello.txt')).size, 9)
await ipfs.files.cp(`/ipfs/${planets.cid}`, '/planets')
await ipfs.files.mv('/planets', '/a/planets')
assert.deepEqual((await collect(ipfs.files.ls('/a'))).map((entry) => entry.name).sort(), ['b', 'planets'])
await ipfs.files.rm('/a', { recursive: true })

// the rest of the house
const refs = await collect(ipfs.refs(planets.cid, { recursive: true }))
assert.equal(refs.length, 2)
assert.ok((await collect(ipfs.refs.local())).length > 3)
assert.ok((await ipfs.repo.stat()).numObjects > 0n)
await collect(ipfs.repo.gc())
const key = await ipfs.key.gen('of-this-test', { type: 'ed25519' })
assert.ok((await ipfs.key.list()).some((known) => known.name === 'of-this-test'))
await ipfs.key.rm('of-this-test')
assert.ok(key.id.length > 40)
await assert.rejects(bytes(ipfs.cat('not-a-cid')))
console.log('kubo-rpc-client: all calls as expected')
