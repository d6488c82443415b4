/**
 * Every word the microphone page says, in Chinese; texts_en.js has the same keys in English.
 *
 * `problems` is keyed by code: those of the server (server/errors.py) and those the page itself
 * finds. Each says what happened, then what to do.
 */

export const texts = Object.freeze({
  language: "zh-Hans",
  title: "Earwitness 实时字幕",

  start: "开始聆听",
  starting: "正在启动…",
  stop: "停止",
  finishing: "正在收尾…",

  statusIdle: "就绪",
  statusNoToken: "需要令牌",
  statusMicrophone: "等待麦克风",
  statusFile: "正在读取文件",
  statusConnecting: "正在连接",
  statusListening: "正在聆听",
  statusTranscribing: "正在转写",
  statusFinishing: "正在写下最后几句",
  statusStopped: "已停止",

  connected: "已连接",
  reconnecting: "正在重新连接",
  lost: "连接已断开",
  connectionLeft: (seconds) => `还剩 ${seconds} 秒`,
  begunAgain: "服务器曾重新开始，此处可能缺几个词。",
  minutesLeft: (minutes) => `剩余 ${minutes} 分钟`,
  secondsLeft: (seconds) => `剩余 ${seconds} 秒`,

  captionsTitle: "字幕",
  captionsKeys: "用方向键逐词浏览，按回车键查看该词的时间。",
  hint: "点击按钮或按空格键，然后开口说话，文字会显示在这里。",
  hintFile: "也可以把录音文件拖到页面上的任意位置。",
  embedHint: "点击画面或按空格键开始",
  speech: "有人说话",
  silence: "安静",
  elapsed: "已用时间",
  privacy: (host) => `声音只发送到 ${host}，不会传到别处。刷新页面后，文字即消失。`,

  openFile: "打开文件",
  dropHere: "松开鼠标即可转写这段录音",
  fileProgress: (name) => `正在转写 ${name}`,
  percent: (percent) => `${percent}%`,
  cancel: "取消",

  copy: "复制",
  copied: "已复制",
  download: "下载",
  formats: Object.freeze({
    txt: "纯文本",
    srt: "SubRip 字幕",
    vtt: "WebVTT 字幕",
    json: "逐词时间",
  }),

  wordTime: (time) => `位于 ${time}`,
  wordTimeEstimated: (time) => `约在 ${time}`,
  wordConfidence: (percent) => `置信度 ${percent}%`,
  wordEstimated: "时间按词长估算。",

  settings: "设置",
  settingsLocked: "会话进行中，停止后才能修改以下各项。",
  inputDevice: "麦克风",
  inputDefault: "系统默认",
  inputNameless: "浏览器允许本页使用麦克风后，这里会显示设备名称。",
  spokenLanguage: "说话语言",
  findOut: "自动识别",
  modelLabel: "模型",
  modelUnknown: "提供令牌后显示",
  modelOnly: "服务器只运行一个模型。",
  noiseSuppression: "降噪",
  echoCancellation: "回声消除",
  autoGain: "自动调节音量",
  shortcutsSwitch: "键盘快捷键",
  settingsKept: "设置会保存在此浏览器中，令牌不会。",
  close: "关闭",

  help: "键盘快捷键",
  keys: Object.freeze({
    toggle: "开始或停止",
    copy: "复制文字",
    download: "下载文字",
    open: "打开录音文件",
    settings: "设置",
    help: "显示本列表",
    close: "关闭当前窗口",
    words: "逐词浏览字幕",
    word: "查看该词的时间与置信度",
  }),
  keyNames: Object.freeze({ space: "空格", escape: "Esc", enter: "回车" }),

  tokenTitle: "凭令牌使用本页",
  tokenWhy: "服务器只为持有令牌的人服务。在服务器所在的机器上运行下面的命令，即可得到一个：",
  tokenLabel: "令牌",
  signInWith: (name) => `使用 ${name} 登录`,
  tokenSubmit: "使用",
  tokenKept: "令牌只保存到关闭此标签页为止，且只发送给这台服务器。",

  problems: Object.freeze({
    microphone_refused:
      "浏览器未获准使用麦克风。请在地址栏或系统的隐私设置中允许本页使用麦克风，然后重新开始。",
    microphone_missing: "未找到麦克风。请接好麦克风，或在设置中另选一个，然后重新开始。",
    microphone_busy: "无法打开麦克风，可能正被其他程序占用。请关闭该程序，然后重新开始。",
    microphone_lost: "麦克风已断开。之前的文字仍在下方。请重新接好，然后再次开始。",
    microphone_silent: "麦克风已打开，但没有声音传来。请刷新页面。",
    insecure_page:
      "浏览器只允许可信页面使用麦克风。请通过 https 打开本页，或在服务器所在的机器上通过 localhost 打开。",
    browser_too_old: "此浏览器无法从网页传送声音。请升级浏览器，或换用其他浏览器。",
    rate_unsupported:
      "服务器不支持麦克风的采样率。请在系统的声音设置中将其改为 48 kHz，然后重新开始。",
    recording_too_long: "录音太长：本页最多接受四小时的录音或 1 GB 的文件。请只发送其中一段，或改用命令行工具。",
    copy_failed: "浏览器不允许复制文字。请改为下载。",

    token_malformed: "这不是令牌：令牌由三段组成，以点号分隔。请完整复制命令输出的内容。",
    code_invalid: "此登录地址已被使用或已过期。请获取新的地址。",
    sign_in_failed: "未能登录。请重试；如果仍然不行，请联系服务器的管理者。",
    provider_unavailable: "登录服务没有响应。请稍后再试。",
    unauthenticated: "令牌无效或已过期。请换用新的令牌。",
    token_expired: "令牌已过期。之前的文字仍在下方。请换用新的令牌后继续。",
    revoked: "令牌已被吊销。之前的文字仍在下方。请换用新的令牌后继续。",
    ended_by_administrator: "管理员已结束本次会话。之前的文字仍在下方。重新开始前请先与管理员联系。",
    lease_lost: "本次会话的名额已失效。之前的文字仍在下方。请重新开始。",
    too_fast: "声音发送得比说话还快。之前的文字仍在下方。请重新开始。",
    forbidden: "此令牌不允许转写。请申请有转写权限的令牌。",
    origin_refused: "服务器不接受本页的地址。请通过服务器设置（origins）中列出的地址打开。",
    too_many_sessions: "此令牌的会话数已达上限。请先结束一个会话，再重新开始。",
    too_many_starts: "此令牌短时间内开始的会话过多。请等一分钟，然后重新开始。",
    address_blocked: "来自此网络的尝试过多。请过一段时间再试。",
    trail_unavailable: "服务器暂时无法接入新会话。请稍候片刻，然后重新开始。",
    overloaded: "服务器已满。请稍候片刻，然后重新开始。",
    not_accepted:
      "服务器未接受本次会话：可能服务器已满、令牌正在别处使用，或本页地址不在服务器的 origins "
      + "之列。请稍候片刻，然后重新开始。",
    unreachable: "无法连接服务器。请检查网络，并确认服务器正在运行，然后重新开始。",
    network_lost: "连接已断开。之前的文字仍在下方。重新开始即可继续。",
    network_slow: "网络太慢，跟不上声音，会话已结束。之前的文字仍在下方。请在网络好转后重新开始。",

    quota_audio:
      "令牌允许的单次会话时长已用完。之前的文字仍在下方。重新开始即可继续，或换用额度更高的令牌。",
    quota_bytes:
      "令牌允许的单次会话流量已用完。之前的文字仍在下方。重新开始即可继续，或换用额度更高的令牌。",
    quota_daily: "令牌今天的时长已用完。之前的文字仍在下方。请明天继续，或换用额度更高的令牌。",
    session_too_long: "会话已达到最长时限。之前的文字仍在下方。重新开始即可继续。",
    session_gone: "连接中断过久，会话已结束。之前的文字仍在下方。重新开始即可继续。",
    idle: "服务器太久没有收到声音，已结束会话。请重新开始。",
    start_late: "启动时间过长。请重新开始。",
    audio_unreadable: "无法将此文件读作音频。请使用 WAV、FLAC、OGG 或 MP3 文件。",
    bad_request: "页面与服务器版本不一致。请刷新页面。",
    request_late: "网络太慢，文件未能及时送达。请重试。",
    model_not_found: "服务器没有这个模型。请在设置中另选一个。",
    bad_message: "页面与服务器版本不一致。请刷新页面。",
    message_too_big: "页面与服务器版本不一致。请刷新页面。",
    language_unknown: "服务器的模型不支持这种语言。请在设置中另选一种。",
    internal: "服务器出现故障。之前的文字仍在下方。请重新开始。",
    shutting_down: "服务器正在重启。之前的文字仍在下方。请稍后重新开始。",
    unknown: "出了点问题。请刷新页面，然后重新开始。",
  }),
});
