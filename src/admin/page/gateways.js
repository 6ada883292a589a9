// The gateways: how each is, and the switch of its mode.

const MODES = { on: 'Repairs what the gateway wrongly refuses.', observe: 'Decides and reports; changes nothing.', off: 'Forwards everything untouched.' };
const STATES = { up: 'Up', down: 'Down', unpaired: 'Unpaired', starting: 'Starting', awaiting_approval: 'Wants the shim’s own device approved' };

function showGateways(status) {
  keyed($('gateways'), status.gateways, (gateway) => gateway.name, makeGateway);
}

function makeGateway(first) {
  const name = shown(first.name, 60);
  const state = el('span', { class: 'state' });
  const why = el('p', { class: 'why' });
  const fix = command();
  const list = facts(['Gateway', 'Clients connect to', 'Pairing store', 'The shim’s own device']);
  const mode = makeMode(first.name);
  const node = el('article', { class: 'card gateway' },
    el('div', { class: 'left' }, el('div', {}, el('h3', {}, el('span', { text: name }), state), why), fix.node, el('dl', { class: 'facts' }, ...list.pairs)),
    mode.node);
  return { node, update(gateway) {
    const health = gateway.gateway;
    state.dataset.state = health.state;
    setText(state, STATES[health.state] ?? shown(health.state, 40));
    setText(why, health.why ? capital(shown(health.why, 400)) : '');
    setHidden(why, !health.why);
    setHidden(fix.node, !health.command);
    if (health.command) fix.set(health.command, `for ${name}`);
    const version = health.version && !String(health.profile).includes(health.version) ? ` (${health.version})` : '';
    list.set(0, `${shown(health.profile ?? 'not known yet')}${shown(version)} at ${shown(gateway.url)}`);
    list.set(1, [gateway.listen, ...gateway.hosts].filter(Boolean).map((at) => shown(at, 80)).join(', ') || 'nowhere at the moment');
    list.set(2, shown(gateway.store, 240));
    list.set(3, own(gateway.delegate));
    mode.update(gateway.mode, gateway.mode_why);
  } };
}

function own(delegate) {
  const scopes = delegate.scopes.map(scopeName).join(', ');
  return `${shown(delegate.device, 20)}, ${delegate.paired ? `paired for ${scopes || 'nothing'}` : 'not paired'}`;
}

function makeMode(gateway) {
  const group = `mode of ${gateway}`;
  const note = el('p', { class: 'note' });
  const source = el('p', { class: 'note' });
  let shownMode = null;
  let shownWhy = null;
  let wanted = null;
  const radios = Object.keys(MODES).map((mode) => el('input', { type: 'radio', name: group, value: mode, on: { change: () => choose(mode) } }));
  const check = () => { for (const radio of radios) radio.checked = radio.value === (wanted ?? shownMode); };
  const paint = () => { check(); setText(note, `${MODES[wanted ?? shownMode] ?? ''} For new handshakes; live sessions go on.`); setText(source, shownWhy ? `${capital(shown(shownWhy, 400))}.` : ''); setHidden(source, !shownWhy); };

  async function change(mode) {
    wanted = mode;
    paint();
    try {
      const answer = await post('/mode', { mode, gateway, by: 'the status page' });
      const now = answer.gateways?.find((one) => one.name === gateway);
      shownMode = now?.mode ?? mode;
      // A mode that could not be kept is none that a start begins with, and has nobody who says so.
      shownWhy = now?.at_start === shownMode ? now.why : null;
      say('good', `${shown(gateway, 60)}: mode ${shownMode}.`);
    } finally {
      wanted = null;
      paint();
    }
  }

  function choose(mode) {
    if (mode !== 'off') {
      change(mode).catch((error) => say('bad', `The mode of ${shown(gateway, 60)} is still ${shownMode}: ${shown(error.message, 400)}`));
      return;
    }
    paint();
    ask({
      title: `Switch ${shown(gateway, 60)} off?`,
      body: [
        el('p', { text: 'From the next handshake on everything is forwarded untouched: clients that this gateway wrongly refuses are refused again.' }),
        el('p', { class: 'muted', text: 'Live sessions go on. “Observe” changes nothing either, and still reports.' }),
      ],
      yes: 'Switch off', danger: true, run: () => change('off'),
    });
  }

  const options = radios.map((radio) => el('label', {}, radio, radio.value === 'on' ? 'On' : radio.value === 'off' ? 'Off' : 'Observe'));
  return {
    node: el('fieldset', { class: 'mode' }, el('legend', { text: 'Mode' }, el('span', { class: 'unseen', text: ` of ${shown(gateway, 60)}` })), el('div', { class: 'segments' }, ...options), note, source),
    update(mode, why) {
      shownMode = mode;
      shownWhy = why;
      paint();
    },
  };
}
