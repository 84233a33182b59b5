// The texts of the pages, Portuguese beside English. A test finds none missing.
import { browser } from './memory.js';

export const texts = {
  skip: ['Ir para a mensagem', 'Skip to the message'],
  connected: ['Conectado', 'Connected'],
  connecting: ['Conectando…', 'Connecting…'],
  disconnected: ['Desconectado', 'Disconnected'],
  lost: ['Conexão perdida; tentando de novo…', 'Connection lost; trying again…'],
  connect: ['Conectar', 'Connect'],
  disconnect: ['Desconectar', 'Disconnect'],
  otherLanguage: ['English', 'Português'],
  who: ['Quem está aqui', 'Who is here'],
  name: ['Seu nome', 'Your name'],
  room: ['Sala', 'Room'],
  join: ['Entrar', 'Join'],
  unnamed: ['sem nome: {}', 'without a name: {}'],
  you: ['você', 'you'],
  sendHeading: ['Novo evento', 'New event'],
  message: ['Mensagem', 'Message'],
  to: ['Só para (opcional)', 'Only to (optional)'],
  send: ['Enviar Evento', 'Send Event'],
  kept: ['O servidor guarda na memória as últimas {} mensagens de cada sala, até parar; as particulares, não.', 'Until it stops, the server keeps the last {} messages of each room in memory, but no private ones.'],
  keptNone: ['O servidor não guarda as mensagens.', 'The server does not keep the messages.'],
  metrics: ['Métricas', 'Metrics'],
  total: ['Total de eventos', 'Total events'],
  sent: ['Eventos enviados', 'Events sent'],
  online: ['Tempo online', 'Time online'],
  received: ['Eventos Recebidos (Broadcast)', 'Events Received (Broadcast)'],
  chat: ['Eventos Modelo Chat', 'Events as a Chat'],
  anonymous: ['anônimo', 'anonymous'],
  privately: ['em particular', 'privately'],
  privatelyTo: ['só para {}', 'only to {}'],
  joined: ['{} entrou na sala', '{} joined the room'],
  left: ['{} saiu da sala', '{} left the room'],
  nowIn: ['agora na sala {}', 'now in the room {}'],
  slowedDown: ['Você envia muito: o servidor lê mais devagar, e nada se perde.', 'You send a lot: the server reads more slowly, and nothing is lost.'],
  waiting: ['aguardando o envio', 'waiting to be sent'],
  sentMark: ['enviada', 'sent'],
  delivered: ['entregue', 'delivered'],
  failed: ['não entregue', 'not delivered'],
  unconfirmed: ['sem confirmação', 'not confirmed'],
  notConfirmed: ['Sem resposta do servidor por quatro minutos: não se sabe se a mensagem chegou.', 'No answer of the server for four minutes: nobody knows whether the message arrived.'],
  roomLeft: ['Você trocou de sala antes de a mensagem ser entregue.', 'You left the room before the message was delivered.'],
  tooManyWait: ['Há mensagens demais sem resposta: espere um pouco. A última não foi enviada.', 'Too many messages have no answer yet: wait a moment. The last one was not sent.'],
  askingAgain: ['A sua conexão anterior talvez ainda o ocupe: a página pede o nome de novo a cada 5 segundos, e as suas mensagens esperam por ele.', 'Your previous connection may still hold it: the page asks for the name again every 5 seconds, and your messages wait for it.'],
  lessons: ['Aulas', 'Lessons'],
  docs: ['Os eventos, descritos', 'The events, described'],
  token: ['Token', 'Token'],
  tokenNeeded: ['Este servidor pede um token: pergunte a quem o iniciou.', 'This server asks for a token: ask whoever started it.'],
  tokenWrong: ['Este token não é o deste servidor: confira-o com quem o iniciou.', 'This is not the token of this server: check it with the person who started it.'],
  proxyAnswered: ['Um proxy respondeu {} no lugar do servidor: ele não alcança o servidor, ou não repassa este caminho a ele.', 'A proxy answered {} in place of the server: it does not reach the server, or does not pass this path on to it.'],
  close1000: ['a conversa terminou', 'the conversation is over'],
  close1001: ['o servidor foi encerrado, ou ficou sem notícias desta página', 'the server has stopped, or has heard nothing from this page'],
  close1002: ['o servidor viu uma regra do WebSocket ser quebrada', 'the server saw a rule of WebSocket broken'],
  close1006: ['a conexão caiu sem um Close: verifique a rede', 'the connection was lost without a Close: check the network'],
  close1007: ['o servidor recebeu texto que não é UTF-8', 'the server received text that is not UTF-8'],
  close1008: ['o servidor não permite isto', 'the server does not allow this'],
  close1009: ['a mensagem é grande demais', 'the message is too large'],
  close1011: ['ocorreu um erro no servidor', 'an error occurred in the server'],
  close1012: ['o servidor está reiniciando', 'the server is restarting'],
  closeOther: ['o servidor fechou a conexão', 'the server has closed the connection'],
  notConnected: ['Sem conexão: a mensagem não foi enviada.', 'Not connected: the message was not sent.'],
  back: ['Voltar à sala', 'Back to the room'],
  docsHeading: ['Os eventos deste servidor', 'The events of this server'],
  docsIntro: ['Gerado a partir de /asyncapi.json (AsyncAPI 3).', 'Made from /asyncapi.json (AsyncAPI 3).'],
  channels: ['Caminhos', 'Paths'],
  messages: ['Mensagens', 'Messages'],
  example: ['Exemplo', 'Example'],
  clientSays: ['o cliente diz', 'the client says'],
  clientHears: ['o cliente ouve', 'the client hears'],
};

/** The language of this reader: what was chosen here before, else what the browser prefers. */
export function preferredLanguage() {
  const chosen = browser.get('lang');
  if (chosen === 'pt' || chosen === 'en') return chosen;
  const tags = navigator.languages?.length ? navigator.languages : [navigator.language ?? 'pt'];
  const known = tags.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === 'pt' || tag === 'en');
  return known ?? 'en';
}

/** One text, with each {} replaced by the next value. */
export function say(lang, key, ...values) {
  const [pt, en] = texts[key];
  let at = 0;
  return (lang === 'pt' ? pt : en).replace(/\{\}/g, () => String(values[at++] ?? ''));
}

/** Fills every element that names its text. */
export function translate(root, lang) {
  document.documentElement.lang = lang === 'pt' ? 'pt-BR' : 'en';
  for (const element of root.querySelectorAll('[data-text]')) {
    element.textContent = say(lang, element.dataset.text);
  }
}
