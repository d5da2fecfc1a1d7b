// A Helia node on loopback that does what it is told: one JSON command a line in, one JSON answer a line out.
// usage: node helia.mjs
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

const node = await withBitswap(withLibp2pLight(createHeliaLight(), {
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping() }
})).start()
const files = unixfs(node)
const hash = (bytes) => createHash('sha256').update(bytes).digest('hex')

const commands = {
  async address () {
    return node.libp2p.getMultiaddrs()[0].toString()
  },
  async add ({ length, byte }) {
    const bytes = new Uint8Array(length)
    for (let at = 0; at < length; at++) bytes[at] = (byte + at * 31 + (at >> 8) * 17 + (at >> 16) * 7) & 255
    return { cid: (await files.addBytes(bytes)).toString(), hash: hash(bytes) }
  },
  // Helia asks whom its routing names, not whoever is connected: a session is told of the one provider.
  async cat ({ cid, provider }) {
    const root = CID.parse(cid)
    const blockstore = node.blockstore.createSession(root, { providers: [multiaddr(provider)] })
    const digest = createHash('sha256')
    for await (const part of unixfs({ ...node, blockstore }).cat(root)) digest.update(part)
    return digest.digest('hex')
  },
  async ls ({ cid, provider }) {
    const root = CID.parse(cid)
    const blockstore = node.blockstore.createSession(root, { providers: [multiaddr(provider)] })
    const names = []
    for await (const entry of unixfs({ ...node, blockstore }).ls(root)) names.push(entry.name)
    return names
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, argument] = JSON.parse(line)
  try {
    console.log(JSON.stringify({ ok: await commands[name](argument) }))
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }))
  }
}
await node.stop()
process.exit(0)
